"""What a user holds in memory, modules, files and arrays, made into what operators take."""
