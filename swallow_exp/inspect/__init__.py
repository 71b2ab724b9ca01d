"""Commands that look and tidy: what a run or a grid would be, how it stands, whether its files are whole, what may go."""
