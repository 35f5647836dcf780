"""Classification of images: the task, its results and its pages."""
