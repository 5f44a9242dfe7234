"""The client interop suite; run.py beside this folder is its command line."""
