"""Which atoms belong together: from a ``Topology`` to groups and fragments."""
