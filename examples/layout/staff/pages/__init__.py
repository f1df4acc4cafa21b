"""Pages for the staff: the module's place is the path, `_name_` a parameter."""
