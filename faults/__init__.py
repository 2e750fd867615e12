"""What breaks the package: kills, full disks, hostile files and arguments, tried by `make faults`."""
