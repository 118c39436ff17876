"""Files that are whole or not there: writing, names, folders and locks."""
