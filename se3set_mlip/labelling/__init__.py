"""Labels for structures: energies and forces of quantum chemistry, over many processes.

:func:`.run.label_file` is what ``se3set label`` calls; :mod:`.methods` has GFN2-xTB and density
functionals. This package imports nothing by itself, so that a process which computes labels starts
without torch.
"""
