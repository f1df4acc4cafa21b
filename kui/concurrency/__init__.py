"""The only package that knows tasks, cancel scopes, threads and timeouts (rule 1).

The rest of Kui calls it by purpose; it imports nothing of Kui.
"""
