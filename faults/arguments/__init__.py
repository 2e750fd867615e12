"""Arguments at random: values, and what is done with what was made of them."""
