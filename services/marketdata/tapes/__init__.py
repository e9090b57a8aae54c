"""What environments go along: tapes, from the data sets that they are cut from to the files that keep them."""
