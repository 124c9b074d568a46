"""What the application is about, plugins or not: people, products, sales, bookings."""
