"""The programs of the book *Multithreading in Python*.

Every module carries the stem of the chapter that shows it: the chapter
``book/threads/locks.md`` shows ``multithreading.threads.locks``, which
``tests/threads/test_locks.py`` tests.
"""
