"""Pages and charts: the frame, the parts and the style that all of them use."""
