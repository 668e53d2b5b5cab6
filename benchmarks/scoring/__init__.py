"""What finished runs are worth: scores, masks and a look inside."""
