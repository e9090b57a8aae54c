"""What a desk can be told to do, each as one step: how orders come in, go on new terms and end."""
