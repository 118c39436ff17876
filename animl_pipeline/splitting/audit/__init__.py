"""What is in two splits that should be in one."""
