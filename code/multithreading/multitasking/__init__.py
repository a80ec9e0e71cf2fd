"""Part two: how is multitasking accomplished?"""
