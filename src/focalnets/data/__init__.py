"""Images, folders of images, transforms and generated scenes. Importing this imports no torch."""
