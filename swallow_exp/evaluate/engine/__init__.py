"""The inference engine behind lm-eval: token ids to likelihoods and generations, with torch or vLLM."""
