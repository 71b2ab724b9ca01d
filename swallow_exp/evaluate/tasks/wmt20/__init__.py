"""WMT20: news translation, English to Japanese and Japanese to English. See README.md in this folder."""
