"""HellaSwag: the likeliest of four ways in which a description goes on. See README.md in this folder."""
