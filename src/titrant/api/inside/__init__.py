"""Look inside models: live ones and files in this process, what a command names in a child process."""
