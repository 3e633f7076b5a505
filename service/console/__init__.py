"""The console: a web page with the models, their traffic, and a form to try them."""
