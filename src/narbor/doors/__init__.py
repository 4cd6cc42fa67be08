"""How others see the library: Request -> Answer, one protocol a file. Pure."""
