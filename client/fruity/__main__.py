from fruity.command import main

if __name__ == "__main__":
    main()
