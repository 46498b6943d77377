"""The embedded AWS: MiniStack (MIT), started with corrections that bring it nearer to AWS.

`python -m local.engine` runs it in an environment of its own (`local/engine.txt`), where nothing else of this project
is installed. `corrections.py` lists what is corrected; a test says when MiniStack has a correction by itself.
"""
