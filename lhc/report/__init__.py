"""What people look at: reports of placed models, and an annotated model in Netron in two colours."""
