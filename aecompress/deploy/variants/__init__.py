"""The files beside the three plain ones: packed, float16, int8, scorer, sparse weights; one module a variant."""
