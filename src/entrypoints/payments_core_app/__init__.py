"""The imperative shell: settings, wiring, HTTP, commands, the loop that runs the sweep."""
