import os

# Read when torch, numpy and pyarrow are imported, and by what tests start: two threads of a tiny model, or two
# processes of several threads, wait for each other on a machine with few cores.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
