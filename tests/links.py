"""What descriptors of this process refer to, as /proc/self/fd tells."""

# Made once, and open as long as the process (nsenter/kept.py).
KEPT = ("/memfd:nsenter-bundle", "/memfd:nsinit", "/dev/shm/nsenter-", "/tmp/nsenter-")
