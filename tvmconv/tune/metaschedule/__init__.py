"""The search by TVM's MetaSchedule: its trace search, cost model, builder and runner on kernels that are ours.

A kernel's loops are in its TIR, where blocks of K and the moves of the output can be written, so that there is nothing
for MetaSchedule's schedule rules to transform. What it can decide is what a Tile holds: each register tile is a design
space, and in its trace all that goes on inside it is sampled (sketch.py). To be imported when it is asked for alone, as
it imports TVM, and cannot be without xgboost.
"""
