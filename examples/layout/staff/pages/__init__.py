"""Pages for the staff. The path of a page is the name of its module, `_name_` is a parameter."""
