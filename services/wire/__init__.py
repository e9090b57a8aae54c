"""The contract in the domain's values: messages become values and values messages, once for everybody."""
