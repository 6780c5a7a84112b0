"""Changes to a model that leave what it computes as it is: adapters, channel scales, column copies, batch."""
