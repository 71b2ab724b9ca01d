"""Item statistics of every metric, one file a kind; record/aggregate.py turns their sums into scores.

strings       exact_match, char_f1              generated text against gold answers     -> [0 .. 1]
labels        balanced_accuracy                 labels against gold labels              -> [100 * correct / size, 1 / size]
squad         exact, f1                         generated text against spans, or no answer  -> [0 .. 1], of a part [100 * score, 1]
triviaqa      exact_match, f1                   generated text against aliases          -> [0 .. 1]
gsm8k         accuracy                          the number a solution ends with         -> [0 or 1]
likelihood    accuracy, bits_per_byte           log-likelihoods                         -> [0 or 1], [bits, bytes]
rouge         rouge2                            bigrams of a summary                    -> [0 .. 1]
numbers       exact_match                       the last number of a worked answer      -> [0 or 1]
translation   bleu                              sacrebleu's counts of one segment       -> [hyp_len, ref_len, 4 correct, 4 total]

Source  paper appendices C and G.
"""
