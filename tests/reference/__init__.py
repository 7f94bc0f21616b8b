"""What the extension does, in plain and obvious Python: the specification that both are tested against."""
