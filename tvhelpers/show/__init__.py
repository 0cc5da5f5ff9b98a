"""What do notebooks show?  Figures, the settings of their form, the prompt studio."""
