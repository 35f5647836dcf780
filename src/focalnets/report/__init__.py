"""Pages and charts: the frame, the parts, the style and the colours that all of them use."""
