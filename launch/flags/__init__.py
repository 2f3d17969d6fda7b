"""What commands share before their work begins: flags, what these name, errors and progress."""
