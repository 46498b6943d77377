"""Java for the KCL consumer: the jars, the JVM in this process, and calls that fetch a batch at once.

Internal.
"""
