"""What do people prefer?"""
