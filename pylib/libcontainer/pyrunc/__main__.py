# SPDX-License-Identifier: Apache-2.0
"""`python -m libcontainer.pyrunc`."""

from libcontainer.pyrunc.main import main

if __name__ == "__main__":
    main()
