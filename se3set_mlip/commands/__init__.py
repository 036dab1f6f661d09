"""The commands of `se3set`: each reads its options, calls one function and prints what it found."""
