"""How a plan is carried out: from pages or from rows, checked, registered, and published."""
