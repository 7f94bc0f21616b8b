"""`podwitness doctor`: what this kernel, these privileges and these mounts allow, without configuration."""
