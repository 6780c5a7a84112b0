"""aihwkit's configurations: from and to a description, with objects of the user's own."""
