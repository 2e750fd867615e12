"""Files that are damaged or hostile, made anew at every run; none is stored."""
