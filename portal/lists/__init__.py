"""Lists of the admin: their filter row, pages by position, columns, saved views and CSV."""
