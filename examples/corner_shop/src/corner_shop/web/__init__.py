"""Pages, rendered on the server. They work without JavaScript; `static/shop.js` only saves page loads."""
