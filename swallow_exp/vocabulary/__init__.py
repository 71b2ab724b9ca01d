"""Documents -> tokenizer: segment, train pieces, merge them into the base, measure fertility."""
